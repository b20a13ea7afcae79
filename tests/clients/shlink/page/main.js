// Shlink's web interface for the server and the key that stand in the query of the page's first address.
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { ShlinkApiClient } from '@shlinkio/shlink-js-sdk';
import { FetchHttpClient } from '@shlinkio/shlink-js-sdk/fetch';
import { ShlinkWebComponent } from '@shlinkio/shlink-web-component';
import './main.css';

const asked = new URLSearchParams(location.search);
for (const [name, value] of asked) {
  sessionStorage.setItem(name, value);
}
const server = { baseUrl: sessionStorage.getItem('server'), apiKey: sessionStorage.getItem('key') };
const apiClient = new ShlinkApiClient(new FetchHttpClient(), server);
const { version } = await apiClient.health();
const settings = {
  visits: { defaultInterval: 'all' },
  shortUrlsList: { confirmDeletions: true },
};
createRoot(document.getElementById('root')).render(
  createElement(ShlinkWebComponent, { serverVersion: version, apiClient, settings }),
);
